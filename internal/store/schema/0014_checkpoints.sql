-- +goose Up

-- Signed checkpoints of the past: the last one of each minute, for thirty days.
create table log_checkpoint_past (
	minute bigint primary key, -- since 1970
	at     bigint not null,    -- when it was signed
	size   bigint not null,
	note   text   not null
);

create unique index log_checkpoint_past_size on log_checkpoint_past (size, minute);

-- Entries are found by more than before: the search index is built again.
delete from log_index;

update log_index_cursor set seq = 0;
