-- +goose Up

-- Registered agents, each in its newest revision. Older revisions are in the log.
create table agent (
	id     text   not null primary key,
	record text   not null, -- the whole agent, as JSON
	as_of  bigint not null  -- number of the log entry that made this row
);
