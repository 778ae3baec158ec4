"""What `make docs` needs beside MkDocs: hooks, how source is read, and a check of every link."""
