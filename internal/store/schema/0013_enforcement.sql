-- +goose Up

-- Enforcement points as they described themselves.
create table enforcement_point (
	caller  text   not null, -- pep:NAME, edge:NAME
	gateway text   not null, -- what the point calls itself
	record  text   not null, -- the whole point, as JSON
	as_of   bigint not null, -- number of the log entry that made this row
	primary key (caller, gateway)
);

-- How far the journals of decision points elsewhere have come into the log: stretches of records that follow
-- one another there, too.
create table edge_run (
	caller  text   not null, -- edge:NAME
	journal text   not null,
	begins  bigint not null, -- number of the first record in the journal
	records bigint not null, -- how many
	seq     bigint not null, -- number of the log entry of the first record
	primary key (caller, journal, begins)
);
