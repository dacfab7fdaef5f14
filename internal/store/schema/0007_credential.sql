-- +goose Up

-- How agents authenticate: public keys and linked documents, also those of the past. No two agents
-- ever have one id; the log decides whose it is.
create table credential (
	agent  text   not null,
	id     text   not null, -- RFC 7638 thumbprint of a key, or URL of a document
	record text   not null, -- the whole credential, as JSON
	as_of  bigint not null, -- number of the log entry that made this row
	primary key (agent, id)
);

-- The newest enrolment of each agent: the hash of a token that is good once, pending or spent.
create table enrolment (
	agent  text   not null primary key,
	record text   not null, -- the whole enrolment, as JSON
	as_of  bigint not null  -- number of the log entry that made this row
);
