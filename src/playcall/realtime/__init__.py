"""How events arrive: the contract without I/O, thin transports, and what users hold in their hands."""
