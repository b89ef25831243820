"""The command line: what a person, or a script, does with flows.

`program` is the table of commands and turns every error into one line and an exit code. A group
of verbs is one file (`looking`, `shapes`, `starting`, `controlling`, `running`, `reloading`).
They share how a program is loaded (`loading`) and its roles are played (`runner`), which flow is
meant (`target`), which process answers (`session`), and how things look (`output`, `pages`,
`times`).
"""
