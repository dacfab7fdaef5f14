-- +goose Up

-- What is to be told of asks, and what was. Rows are made and ended by entries of the log; in between
-- whoever sends them changes them.
create table delivery (
	id      text   not null primary key,
	ask     text   not null,
	state   text   not null, -- waiting, told, dead, moot
	at      bigint not null, -- of the entry that made it: microseconds since 1970
	next_at bigint not null, -- when it is tried next; a claim puts it off
	ended   bigint not null, -- 0: not yet
	as_of   bigint not null, -- number of the entry that made or ended it
	version bigint not null, -- one more with each change
	record  text   not null  -- the whole delivery, as JSON
);

create index delivery_due on delivery (next_at) where state = 'waiting';
create index delivery_at on delivery (at, id);
create index delivery_ask on delivery (ask);

-- Who was told of which ask, so that nobody is told of too many.
create table delivery_person (
	person text   not null,
	ask    text   not null,
	event  text   not null, -- by which the person was first told
	at     bigint not null,
	primary key (person, ask)
);
