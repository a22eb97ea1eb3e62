"""What p3dfeat must live through: damaged files by the thousand, and days of work with processes killed in between."""
