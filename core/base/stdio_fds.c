#include "core/base/stdio_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int stdio_fds_open(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != fd)
            return -1; /* the lowest free number is the one that open() takes */
    return 0;
}
