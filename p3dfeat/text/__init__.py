"""How text that comes from elsewhere is read, shown and kept: lines, JSON, HTML, CSV, addresses, and file names."""
