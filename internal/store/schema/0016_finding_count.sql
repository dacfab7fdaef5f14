-- +goose Up

-- So that findings are counted without reading what they say.
create index finding_count on finding (state, severity, kind, format);
