-- +goose Up

-- Persons who answer: each with passkeys, a pending enrolment, and sessions. Of tokens only hashes.
create table person (
	id     text   not null primary key,
	record text   not null, -- the whole account, as JSON
	as_of  bigint not null  -- number of the log entry that made this row
);
