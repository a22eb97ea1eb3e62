"""Read, show and store external text: lines, JSON, HTML, CSV, addresses, and file names."""
