-- +goose Up

-- Who may call, by the hash of a token. The token itself is nowhere.
create table caller (
	id         text   not null primary key,
	name       text   not null,
	role       text   not null,
	hash       text   not null, -- SHA-256 in hex
	created_at bigint not null, -- microseconds since 1970
	revoked_at bigint not null, -- 0: not revoked
	as_of      bigint not null  -- number of the log entry that made this row
);
