/* Whether all nodes write to the same archive: one that has another, or none, does not find what the others put there.
 * Engine's thread. */
#ifndef MAGPIE_STORAGE_REDIS_SAME_ARCHIVE_H
#define MAGPIE_STORAGE_REDIS_SAME_ARCHIVE_H

struct redis;

/* Asks Redis which one it is, once in the life of a node, and warns where ours is another one. Whoever is alone says
 * which it is from now on. */
void same_archive_look(struct redis *r);

#endif
