"""What a server tells those who run it: lines and figures."""
