"""The man pages, made from the table of commands, the options of both programs and the comments of jupiter.cfg."""
