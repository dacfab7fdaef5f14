-- +goose Up

-- Alerts and threat indicators, each in its newest version, also those that were cleared or have
-- expired: their as_of keeps an older entry of the log from bringing them back.
create table alert (
	id         text    not null primary key,
	record     text    not null, -- the whole alert, as JSON
	cleared    boolean not null,
	expires_at bigint  not null, -- microseconds since 1970
	as_of      bigint  not null  -- number of the log entry that made this row
);

create table indicator (
	id         text    not null primary key,
	record     text    not null, -- the whole indicator, as JSON
	cleared    boolean not null,
	expires_at bigint  not null,
	as_of      bigint  not null
);
