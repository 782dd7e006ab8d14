// SPDX-License-Identifier: Apache-2.0

import GRDB

/// The tables of a store. A migration that has been released is never changed: what a later version
/// needs is a further migration below it.
enum Schema {
  static var migrator: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("1: feedback") { db in
      try db.execute(sql: first)
      for table in tables { try forbidChanges(to: table, in: db) }
    }
    migrator.registerMigration("2: submissions") { db in
      try db.execute(sql: second)
      try forbidChanges(to: "submission", in: db)
    }
    migrator.registerMigration("3: skips") { db in
      try db.execute(sql: third)
      try forbidChanges(to: "skip", in: db)
    }
    migrator.registerMigration("4: responses") { db in
      try db.execute(sql: fourth)
      try forbidChanges(to: "response", in: db)
    }
    return migrator
  }

  /// What a store that is up to date lacks, or has otherwise: nil for nothing. Further tables are
  /// nobody's business.
  static func difference(_ db: Database) throws -> String? {
    let model = try DatabaseQueue()
    try migrator.migrate(model)
    let wanted = try model.read(objects)
    let found = try objects(db)
    for (name, words) in wanted.sorted(by: { $0.key < $1.key }) where found[name] != words {
      return found[name] == nil ? "\(name) is missing" : "\(name) is not what it was"
    }
    return nil
  }

  /// Tables with their columns, and triggers and indexes with their statements. The statement of a table
  /// that was altered is SQLite's own and may change with its version.
  private static func objects(_ db: Database) throws -> [String: String] {
    let rows = try GRDB.Row.fetchAll(
      db,
      sql: """
        SELECT s.type || ' ' || s.name AS name, CASE s.type
          WHEN 'table' THEN
            (SELECT group_concat(name || ' ' || type || ' ' || "notnull") FROM pragma_table_info(s.name))
          ELSE coalesce(s.sql, '') END AS words
        FROM sqlite_schema s WHERE s.type IN ('table', 'trigger', 'index')
          AND s.name NOT GLOB 'sqlite_stat*'
        """)
    return Dictionary(rows.map { ($0["name"], $0["words"] ?? "") }) { first, _ in first }
  }

  /// Every table of the first migration.
  static let tables = [
    "record", "prompt", "answer", "comparison", "comparison_answer", "thumb", "critique",
  ]

  /// A changed mind is a new row: nothing is ever taken back or written over.
  private static func forbidChanges(to table: String, in db: Database) throws {
    for verb in ["UPDATE", "DELETE"] {
      try db.execute(
        sql: """
          CREATE TRIGGER \(table)_no_\(verb.lowercased()) BEFORE \(verb) ON \(table)
          BEGIN SELECT RAISE(ABORT, 'a store of feedback is append-only'); END
          """)
    }
  }

  private static let first = """
    -- A row of a file, as it came; the n-th one of its text and annotator has occurrence n.
    CREATE TABLE record (
      id INTEGER PRIMARY KEY,
      digest TEXT NOT NULL,
      occurrence INTEGER NOT NULL,
      format TEXT NOT NULL,
      text TEXT NOT NULL,
      file TEXT NOT NULL,
      line INTEGER NOT NULL,
      time REAL NOT NULL,
      UNIQUE (digest, occurrence)
    ) STRICT;
    -- A prompt: a JSON string, or a list of messages.
    CREATE TABLE prompt (
      id INTEGER PRIMARY KEY,
      digest TEXT NOT NULL UNIQUE,
      content TEXT NOT NULL
    ) STRICT;
    -- An answer and where it came from; the same text by two models is two answers.
    CREATE TABLE answer (
      id INTEGER PRIMARY KEY,
      prompt INTEGER NOT NULL REFERENCES prompt,
      digest TEXT NOT NULL,
      content TEXT NOT NULL,
      model TEXT NOT NULL,
      fingerprint TEXT NOT NULL,
      sampling TEXT NOT NULL,
      detail TEXT NOT NULL,
      UNIQUE (prompt, digest, model, fingerprint, sampling, detail)
    ) STRICT;
    -- Two or more answers compared by one annotator.
    CREATE TABLE comparison (
      id INTEGER PRIMARY KEY,
      record INTEGER REFERENCES record,
      prompt INTEGER NOT NULL REFERENCES prompt,
      annotator TEXT,
      origin TEXT NOT NULL CHECK (origin IN ('file', 'person', 'ai')),
      outcome TEXT NOT NULL CHECK (outcome IN ('preferred', 'tie', 'both_bad', 'withdrawn')),
      strength INTEGER,
      probability REAL,
      margin REAL,
      gold INTEGER NOT NULL DEFAULT 0,
      time REAL NOT NULL,
      milliseconds INTEGER,
      supersedes INTEGER REFERENCES comparison
    ) STRICT;
    CREATE INDEX comparison_supersedes ON comparison (supersedes);
    -- The answers of a comparison: rank 1 is best; position is where it was shown, from 0.
    CREATE TABLE comparison_answer (
      comparison INTEGER NOT NULL REFERENCES comparison,
      answer INTEGER NOT NULL REFERENCES answer,
      rank INTEGER NOT NULL,
      score REAL,
      position INTEGER
    ) STRICT;
    CREATE INDEX comparison_answer_comparison ON comparison_answer (comparison);
    -- A thumb up (1) or down (0) on one answer.
    CREATE TABLE thumb (
      id INTEGER PRIMARY KEY,
      record INTEGER REFERENCES record,
      prompt INTEGER NOT NULL REFERENCES prompt,
      answer INTEGER NOT NULL REFERENCES answer,
      good INTEGER NOT NULL CHECK (good IN (0, 1)),
      annotator TEXT,
      time REAL NOT NULL,
      milliseconds INTEGER,
      supersedes INTEGER REFERENCES thumb
    ) STRICT;
    -- Words about an answer or about a comparison (why it came out as it did).
    CREATE TABLE critique (
      id INTEGER PRIMARY KEY,
      prompt INTEGER NOT NULL REFERENCES prompt,
      answer INTEGER REFERENCES answer,
      comparison INTEGER REFERENCES comparison,
      text TEXT NOT NULL,
      annotator TEXT,
      time REAL NOT NULL
    ) STRICT;
    """

  private static let second = """
    -- A thumb that takes back the one it supersedes.
    ALTER TABLE thumb ADD COLUMN withdrawn INTEGER NOT NULL DEFAULT 0 CHECK (withdrawn IN (0, 1));
    CREATE INDEX thumb_supersedes ON thumb (supersedes);
    -- What a client has sent, by a key of its own: the same key again adds nothing.
    CREATE TABLE submission (
      annotator TEXT NOT NULL,
      key TEXT NOT NULL,
      comparison INTEGER REFERENCES comparison,
      thumb INTEGER REFERENCES thumb,
      PRIMARY KEY (annotator, key)
    ) STRICT;
    """

  private static let third = """
    -- A question that somebody passed over, by the numbers of its answers; 1 takes that back.
    CREATE TABLE skip (
      id INTEGER PRIMARY KEY,
      annotator TEXT NOT NULL,
      question TEXT NOT NULL,
      time REAL NOT NULL,
      withdrawn INTEGER NOT NULL DEFAULT 0 CHECK (withdrawn IN (0, 1))
    ) STRICT;
    CREATE INDEX skip_annotator ON skip (annotator, question);
    """

  private static let fourth = """
    -- An answer that a server gave, by the id that its response carried and its place in it.
    CREATE TABLE response (
      id TEXT NOT NULL,
      choice INTEGER NOT NULL,
      answer INTEGER NOT NULL REFERENCES answer,
      annotator TEXT,
      time REAL NOT NULL,
      PRIMARY KEY (id, choice)
    ) STRICT;
    """
}
