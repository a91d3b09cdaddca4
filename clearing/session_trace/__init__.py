"""One session from its meter to the bank: every link in one record that is verified offline."""
