"""What the command line does, one module a verb. `plan` says of which runs a command is made."""
