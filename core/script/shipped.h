/* The policies that come with the server (scripts/), as the build puts them into the binary (CMakeLists.txt). */
#ifndef MAGPIE_SCRIPT_SHIPPED_H
#define MAGPIE_SCRIPT_SHIPPED_H

#include <stddef.h>

struct shipped_script {
    const char *name; /* NULL: end of the table */
    const char *text; /* n bytes */
    size_t n;
};

extern const struct shipped_script shipped_scripts[];

#endif
