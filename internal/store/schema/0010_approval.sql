-- +goose Up

-- Asks of persons, each in its newest version.
create table ask (
	id         text    not null primary key,
	record     text    not null, -- the whole ask, as JSON
	agent      text    not null, -- '' if a person or a thing asks
	asked      bigint  not null, -- number of the log entry that asked
	pending    boolean not null,
	over_at    bigint  not null, -- when it had ended and no approval of it held any more; microseconds since 1970
	changed_at bigint  not null, -- of the newest change that says when it was
	as_of      bigint  not null  -- number of the log entry that made this row
);

create index ask_agent on ask (agent, asked) where not pending;
create index ask_over on ask (over_at);
create index ask_changed on ask (changed_at);
create index ask_as_of on ask (as_of);

-- Who is away, and who stands in: the newest absence of each person, also one that has ended.
create table away (
	person text   not null primary key,
	record text   not null, -- as JSON
	as_of  bigint not null
);

create index away_as_of on away (as_of);
