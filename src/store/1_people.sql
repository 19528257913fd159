-- Who may do what. Times are milliseconds since 1970; secrets are SHA-256, never the secret.
CREATE TABLE users (
    name     TEXT PRIMARY KEY,
    password TEXT NOT NULL,
    owner    INTEGER NOT NULL CHECK (owner IN (0, 1)),
    created  INTEGER NOT NULL
) STRICT;

CREATE TABLE roles (
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    org  TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('viewer', 'publisher', 'admin')),
    PRIMARY KEY (user, org)
) STRICT;

CREATE TABLE tokens (
    id         TEXT PRIMARY KEY,
    secret     BLOB NOT NULL CHECK (length(secret) = 32),
    name       TEXT NOT NULL,
    org        TEXT NOT NULL,
    project    TEXT,
    role       TEXT NOT NULL CHECK (role IN ('viewer', 'publisher', 'admin')),
    created    INTEGER NOT NULL,
    created_by TEXT,            -- NULL: the local operator
    expires    INTEGER,
    last_used  INTEGER,
    revoked    INTEGER
) STRICT;

CREATE TABLE sessions (
    secret  BLOB PRIMARY KEY CHECK (length(secret) = 32),
    user    TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    created INTEGER NOT NULL,
    seen    INTEGER NOT NULL
) STRICT;

-- Orgs whose devices have to show a secret.
CREATE TABLE device_orgs (org TEXT PRIMARY KEY) STRICT;

CREATE TABLE device_secrets (
    org     TEXT NOT NULL,
    node    TEXT NOT NULL,
    secret  BLOB NOT NULL CHECK (length(secret) = 32),
    created INTEGER NOT NULL,
    PRIMARY KEY (org, node)
) STRICT;

-- The link that makes the first owner: one row at most.
CREATE TABLE first_owner (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    secret  BLOB NOT NULL CHECK (length(secret) = 32),
    expires INTEGER NOT NULL
) STRICT;

CREATE TABLE audit (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    who_kind TEXT NOT NULL,
    who      TEXT NOT NULL,
    address  TEXT,
    action   TEXT NOT NULL,
    org      TEXT,
    target   TEXT,
    before   TEXT,
    after    TEXT
) STRICT;
CREATE INDEX audit_org ON audit (org, id);
CREATE INDEX audit_who ON audit (who_kind, who, id);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
