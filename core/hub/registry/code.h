/* The error codes of protocol.md section 2. */
#ifndef MAGPIE_HUB_CODE_H
#define MAGPIE_HUB_CODE_H

enum code {
    CODE_OK,
    CODE_BAD_REQUEST,
    CODE_UNKNOWN_ACTION,
    CODE_UNAUTHORIZED,
    CODE_FORBIDDEN,
    CODE_NOT_FOUND,
    CODE_TOO_LARGE,
    CODE_QUOTA,
    CODE_RATE_LIMITED,
    CODE_UNAVAILABLE,
    CODE_INTERNAL,
    CODE_COUNT
};

/* "bad_request" …; static storage. */
const char *code_name(enum code code);

#endif
