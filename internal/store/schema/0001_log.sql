-- +goose Up

-- One row is one batch of entries: one leaf of the Merkle tree. The primary key is what makes
-- appending a compare-and-swap (see log.go); rows are never changed.
create table log_segment (
	batch     bigint primary key, -- index of the leaf, from 0
	first_seq bigint not null,
	last_seq  bigint not null,
	leaf      bytea  not null,
	hashes    bytea  not null,    -- 32 bytes each, in the order of tlog's numbering
	data      bytea  not null     -- compressed entries, last: reading the rest must not walk through it
);

create unique index log_segment_last_seq on log_segment (last_seq);

-- The newest signed checkpoint.
create table log_checkpoint (
	id   bigint primary key check (id = 1),
	size bigint not null,
	note text   not null
);

-- The search index. It holds nothing that log_segment does not.
create table log_index (
	bucket    bigint not null,
	first_seq bigint not null,
	data      bytea  not null,
	primary key (bucket, first_seq)
);

create table log_index_cursor (
	id  bigint primary key check (id = 1),
	seq bigint not null
);

insert into log_index_cursor (id, seq) values (1, 0);
