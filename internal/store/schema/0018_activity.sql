-- +goose Up

-- How trust in agents moved, as monitors concluded it: thinned, and bounded for each agent.
create table trust_point (
	agent  text   not null,
	nth    bigint not null, -- which of the agent's it is
	format bigint not null,
	at     bigint not null,
	record text   not null, -- the whole point, as JSON
	primary key (agent, nth)
);

-- What agents did, as it follows from the log: see internal/activity. All of it can be read from the log again.
create table activity_head (
	id     bigint primary key check (id = 1),
	seq    bigint not null, -- number of an entry up to which the rows hold everything
	format bigint not null
);

create table activity (
	agent  text   not null,
	kind   text   not null, -- agent, use, session, behalf
	name   text   not null, -- within the kind
	format bigint not null,
	seq    bigint not null, -- number of the entry that changed it last
	record text   not null, -- JSON
	primary key (agent, kind, name)
);

create index activity_seq on activity (agent, kind, seq);
create index activity_name on activity (kind, name, agent);
