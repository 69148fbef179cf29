/* The server as a whole: what magpied is when its command line has been read. */
#ifndef MAGPIE_SERVER_SERVER_H
#define MAGPIE_SERVER_SERVER_H

/* Runs a server of this config file on the calling thread, until a signal or an order of the console has drained it.
 * The program's exit status: 0, or 1 when it could not start; then the reasons have gone to standard error. */
int server_run(const char *config_path);
/* Ends the process with that exit status after server_run(), and whatever else opens a store: returns it, for main() to
 * return, or does not return, where libraries could not clean up. */
int server_leave(int status);

#endif
