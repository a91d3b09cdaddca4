"""Child processes: started together, supervised, ended with their parent."""
