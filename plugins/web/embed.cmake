# Makes MADE/files.c of the files of FOLDER that browsers are given: their bytes and, where that is smaller, the same
# gzipped. The assembler includes them, so that no tool is needed beside the compiler.
#
# Paths are those under the plugin's own: the page's files lie at its top, the client's in client/, the dashboard's in
# admin/.
cmake_minimum_required(VERSION 3.20)
file(MAKE_DIRECTORY ${MADE}/gzip)
file(GLOB page RELATIVE ${FOLDER}/page ${FOLDER}/page/*.html ${FOLDER}/page/*.css ${FOLDER}/page/*.js
     ${FOLDER}/page/*.svg ${FOLDER}/page/*.webmanifest)
file(GLOB admin RELATIVE ${FOLDER} ${FOLDER}/admin/*.html ${FOLDER}/admin/*.css ${FOLDER}/admin/*.js)
file(GLOB client RELATIVE ${FOLDER} ${FOLDER}/client/*.js)

set(bytes "")
set(rows "")
set(number 0)

# Adds a file's bytes; `result` becomes its initialiser.
function(embed file result)
  file(SIZE ${file} size)
  set(label web_bytes_${number})
  string(APPEND bytes "extern const char ${label}[];\n"
         "__asm__(\".pushsection .rodata\\n.globl ${label}\\n.hidden ${label}\\n${label}:\\n\"\n"
         "        \".incbin \\\"${file}\\\"\\n.popsection\");\n")
  math(EXPR number "${number} + 1")
  set(number ${number} PARENT_SCOPE)
  set(bytes "${bytes}" PARENT_SCOPE)
  set(${result} "{${label}, ${size}}" PARENT_SCOPE)
endfunction()

function(add path source)
  embed(${source} plain)
  file(SHA256 ${source} hash)
  string(SUBSTRING ${hash} 0 20 hash)
  string(REPLACE "/" "-" flat ${path})
  set(packed ${MADE}/gzip/${flat}.gz)
  file(ARCHIVE_CREATE OUTPUT ${packed} PATHS ${source} FORMAT raw COMPRESSION GZip COMPRESSION_LEVEL 9)
  file(SIZE ${source} size)
  file(SIZE ${packed} packed_size)
  set(gzip "{0, 0}")
  if(packed_size LESS size)
    embed(${packed} gzip)
  endif()
  set(rows "${rows}    {\"${path}\", ${plain}, ${gzip}, \"\\\"${hash}\\\"\", \"\\\"${hash}-gzip\\\"\"},\n" PARENT_SCOPE)
  set(bytes "${bytes}" PARENT_SCOPE)
  set(number ${number} PARENT_SCOPE)
endfunction()

foreach(file ${page})
  add(${file} ${FOLDER}/page/${file})
endforeach()
foreach(file ${client} ${admin})
  add(${file} ${FOLDER}/${file})
endforeach()

file(WRITE ${MADE}/files.c
     "/* Made by plugins/web/embed.cmake. */\n#include \"plugins/web/files.h\"\n\n${bytes}\n"
     "const struct web_file web_files[] = {\n${rows}};\n"
     "const unsigned web_file_count = sizeof web_files / sizeof *web_files;\n")
