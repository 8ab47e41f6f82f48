//! The inventory in one SQLite file.
