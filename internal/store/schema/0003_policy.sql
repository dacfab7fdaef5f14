-- +goose Up

-- Texts of policies and catalogs, each under the SHA-256 of its bytes. They do nothing by
-- themselves, never change and are never removed.
create table document (
	digest text not null primary key, -- hexadecimal
	text   text not null
);

-- Published versions. The newest is the active one.
create table policy_version (
	number bigint not null primary key,
	record text   not null -- the whole version, as JSON
);
