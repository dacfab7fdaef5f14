-- +goose Up

-- What monitors have concluded from the log. All of it can be concluded again: these tables are there
-- to start sooner, and to search. The head says as of which entry the rows of agents count (monitor.go).
create table monitor_head (
	id     bigint primary key check (id = 1),
	epoch  bigint not null, -- grows whenever all is begun anew
	seq    bigint not null, -- number of an entry of the log; 0 if nothing counts
	format bigint not null, -- of what is kept
	state  bytea  not null  -- what is known of all agents together
);

create table monitor_agent (
	agent text   not null,
	epoch bigint not null, -- of the head that it was written for
	seq   bigint not null, -- number of the entry as of which the agent was kept
	state bytea  not null, -- empty: nothing is known any more
	primary key (agent, epoch, seq)
);

create table finding (
	seq      bigint not null, -- number of the entry that completed it, and
	nth      bigint not null, -- how many it had completed before
	format   bigint not null,
	agent    text   not null,
	kind     text   not null,
	severity bigint not null, -- 0 low to 3 critical
	state    text   not null,
	as_of    bigint not null, -- number of the entry that made this row
	record   text   not null, -- the whole finding, as JSON
	primary key (seq, nth)
);

create index finding_agent on finding (agent, seq, nth);
