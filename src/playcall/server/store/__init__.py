"""Where everything is kept: one database, its tables, its transactions, its migrations."""
