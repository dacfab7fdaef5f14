-- +goose Up

-- The server's own signing keys, each in its newest revision: public parts only.
create table signing_key (
	id     text   not null primary key, -- RFC 7638 thumbprint
	record text   not null, -- the whole record, as JSON
	seq    bigint not null, -- number of the log entry that published it
	as_of  bigint not null  -- number of the log entry that made this row
);

-- Private halves of those that still sign or will, sealed. This is the one table that the log could
-- not rebuild.
create table sealed_key (
	id         text   not null primary key,
	data       text   not null, -- base64
	created_at bigint not null  -- microseconds since 1970
);
