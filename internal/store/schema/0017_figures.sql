-- +goose Up

-- What was counted of the log. All of it can be counted again: these tables are there so that it need not. The rows are as of
-- the entry that the head names.
create table figure_head (
	id     bigint primary key check (id = 1),
	seq    bigint not null,
	format bigint not null,
	state  text   not null  -- what is counted over longer than one row
);

create table figure (
	length text   not null, -- minute, hour, day
	name   text   not null, -- of a purpose and an owner; empty: of all together
	begins bigint not null,
	ends   bigint not null,
	as_of  bigint not null, -- number of the newest entry that is counted in it
	record text   not null, -- the figures, as JSON
	primary key (length, name, begins)
);

create index figure_begins on figure (length, begins);
