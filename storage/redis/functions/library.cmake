# The functions as one text in the binary: head.lua first, for it names the library and has what the others share, then
# the other files by name, with the first six digits of the text's SHA-256 put in for every @.
file(GLOB functions CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.lua)
list(SORT functions)
list(REMOVE_ITEM functions ${CMAKE_CURRENT_LIST_DIR}/head.lua)
set(text "#!lua name=magpie_@\n")
foreach(file ${CMAKE_CURRENT_LIST_DIR}/head.lua ${functions})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} part)
  string(APPEND text "${part}")
endforeach()
string(SHA256 hash "${text}")
string(SUBSTRING ${hash} 0 6 hash)
string(REPLACE "@" "${hash}" text "${text}")
file(WRITE ${CMAKE_BINARY_DIR}/generated/magpie.lua "${text}") # to be read by people, and as bytes below
file(READ ${CMAKE_BINARY_DIR}/generated/magpie.lua text HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," text "${text}")
file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/generated/redis_library.c CONTENT "#include <stddef.h>
extern const unsigned char library_code[];
extern const size_t library_code_size;
extern const char library_hash[];
const unsigned char library_code[] = {${text}0};
const size_t library_code_size = sizeof library_code - 1;
const char library_hash[] = \"${hash}\";
")
target_sources(magpie_storage PRIVATE ${CMAKE_BINARY_DIR}/generated/redis_library.c)
