-- +goose Up

-- What persons have stopped, also what was lifted again. An id is used once.
create table stop (
	id        text    not null primary key,
	record    text    not null, -- the whole stop, as JSON
	lifted    boolean not null,
	as_of     bigint  not null, -- number of the log entry that put it
	lifted_by bigint  not null  -- number of the log entry that lifted it; 0: none
);

create index stop_as_of on stop (as_of);
