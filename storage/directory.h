/* The data directory, whichever engine: made, looked at for whom it is open to, and one server's alone. */
#ifndef MAGPIE_STORAGE_DIRECTORY_H
#define MAGPIE_STORAGE_DIRECTORY_H

#include "core/base/err.h"

#include <stddef.h>

/* Makes a directory and its parents, with mode 0700. ERR_IO, with errno. */
MUST_CHECK int directory_make(const char *path);
/* Who may write to the data directory may put a database and a key of their own there. Everybody: ERR_AUTH. The group:
 * it may be meant, as with volumes of containers, so it is logged. One that is not there is good. */
MUST_CHECK int directory_check(const char *path, char *why, size_t why_size);
/* Takes the directory for this process, until *fd is closed; -1 or to be closed after an error too. ERR_EXISTS: another
 * server has it. ERR_IO. */
MUST_CHECK int directory_lock(const char *path, int *fd, char *why, size_t why_size);

#endif
