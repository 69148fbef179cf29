/* Descriptors 0, 1 and 2, which somebody may have closed before the program began. */
#ifndef MAGPIE_BASE_STDIO_FDS_H
#define MAGPIE_BASE_STDIO_FDS_H

/* Opens /dev/null in their places where they are closed; first thing in main(), for otherwise a database or a socket
 * gets such a number, and what is printed goes there. 0, or -1: that could not be done. */
int stdio_fds_open(void);

#endif
