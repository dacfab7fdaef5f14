-- +goose Up

-- Whose records of decision points elsewhere are in the log, as of the head's entry.
alter table activity_head add column uploads bytea;
