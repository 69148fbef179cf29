/* Runs a fuzz target over the files of a directory, without libFuzzer: `./dev test` replays every corpus this way. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return -1;
    }
    uint8_t *data = NULL;
    size_t n = 0, got = 0;
    do {
        uint8_t *grown = realloc(data, n + 65536);
        if (!grown)
            abort();
        data = grown;
        got = fread(data + n, 1, 65536, f);
        n += got;
    } while (got > 0);
    fclose(f);
    /* Exactly as many bytes as there are, so that a sanitizer sees the first one too far. */
    uint8_t *exact = malloc(n ? n : 1);
    if (!exact)
        abort();
    memcpy(exact, data, n);
    free(data);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return 2;
    }
    DIR *directory = opendir(argv[1]);
    if (!directory) {
        perror(argv[1]);
        return 1;
    }
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        if (entry->d_name[0] == '.')
            continue;
        if (run_file(path) != 0)
            return 1;
        count++;
    }
    closedir(directory);
    printf("%s: %u inputs\n", argv[1], count);
    return count ? 0 : 1;
}
