/* All that a server holds, into a file and out of one: magpied --export and --import. */
#ifndef MAGPIE_SERVER_MOVING_H
#define MAGPIE_SERVER_MOVING_H

/* Writes the export of what the config's store holds to `file`; "-" is standard output. What was written, or why
 * nothing was, goes to standard error. The program's exit status: 0 or 1. */
int moving_export(const char *config_path, const char *file);
/* Fills the config's store from an export; "-" is standard input. A file is read through before anything is changed. */
int moving_import(const char *config_path, const char *file);
/* The `file` that is none: fills the config's cluster with the heads of its archive's conversations. */
#define MOVING_HEADS "--heads"

#endif
