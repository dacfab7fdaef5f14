-- +goose Up

-- Up to which entry of the log the tables of features are known to be current, so that a process
-- that starts need not read the log from its beginning.
create table log_applied (
	id  bigint primary key check (id = 1),
	seq bigint not null
);

insert into log_applied (id, seq) values (1, 0);
