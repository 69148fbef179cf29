# cmake --install: where everything goes. Paths inside the installed config and unit are those of the prefix.
include(GNUInstallDirs)
set(magpie_plugin_dir ${CMAKE_INSTALL_LIBDIR}/magpie/plugins)
set(magpie_script_dir ${CMAKE_INSTALL_DATADIR}/magpie/scripts)
set(magpie_config_dir ${CMAKE_INSTALL_SYSCONFDIR}/magpie)

foreach(program magpied magpiectl magpie-bench magpie-chat)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endforeach()
install(FILES plugins/magpie_plugin.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
# The script that compiles plugins: from here with the header of the sources.
set(include ${CMAKE_SOURCE_DIR}/plugins)
set(version ${PROJECT_VERSION})
configure_file(plugins/magpie-plugin.sh ${CMAKE_BINARY_DIR}/magpie-plugin @ONLY NEWLINE_STYLE UNIX
  FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
file(STRINGS plugins/magpie_plugin.h abi REGEX "^#define MP_ABI_(MAJOR|MINOR) ")
string(REGEX REPLACE "[^0-9]*([0-9]+);[^0-9]*([0-9]+)" "\\1.\\2" abi "${abi}")
foreach(name ${plugin_names})
  install(TARGETS plugin_${name} LIBRARY DESTINATION ${magpie_plugin_dir})
endforeach()

# Documents, and what they lead to. Each file here has a place of its own below the prefix, and the links of documents
# are written anew for those places when Magpie is built (documents.cmake). A link to what is not installed, a source
# file say, becomes its text.
set(magpie_documents "") # of each: its path in the sources, a bar, its path when installed
set(magpie_pages "")     # those among them that are written anew
# magpie_document(FOLDER FILE...): files of the sources (relative paths) go to that folder.
function(magpie_document folder)
  set(documents ${magpie_documents})
  set(pages ${magpie_pages})
  foreach(file ${ARGN})
    get_filename_component(name ${file} NAME)
    list(APPEND documents "${file}|${folder}/${name}")
    if(name MATCHES "\\.md$")
      list(APPEND pages ${file})
      install(FILES ${CMAKE_BINARY_DIR}/documents/${file} DESTINATION ${folder})
    else()
      install(FILES ${file} DESTINATION ${folder})
    endif()
  endforeach()
  set(magpie_documents ${documents} PARENT_SCOPE)
  set(magpie_pages ${pages} PARENT_SCOPE)
endfunction()
# magpie_documents_of(FOLDER PATTERN...): the same of all files that fit.
macro(magpie_documents_of folder)
  file(GLOB found RELATIVE ${CMAKE_SOURCE_DIR} CONFIGURE_DEPENDS ${ARGN})
  magpie_document(${folder} ${found})
endmacro()

magpie_document(${CMAKE_INSTALL_DOCDIR} README.md CHANGELOG.md SECURITY.md LICENSE)
magpie_documents_of(${CMAKE_INSTALL_DOCDIR}/docs docs/*.md docs/*.png)
magpie_documents_of(${CMAKE_INSTALL_DOCDIR}/docs/examples docs/examples/*)
magpie_documents_of(${CMAKE_INSTALL_DOCDIR}/etc etc/*.md etc/magpie.lua etc/magpied.service)
magpie_documents_of(${CMAKE_INSTALL_DOCDIR}/etc/sysctl.d etc/sysctl.d/*)
magpie_documents_of(${CMAKE_INSTALL_DOCDIR}/etc/limits.d etc/limits.d/*)
magpie_document(${CMAKE_INSTALL_DOCDIR}/plugins plugins/README.md)
file(GLOB folders RELATIVE ${CMAKE_SOURCE_DIR} CONFIGURE_DEPENDS plugins/*/README.md)
foreach(file ${folders})
  get_filename_component(folder ${file} DIRECTORY)
  magpie_document(${CMAKE_INSTALL_DOCDIR}/${folder} ${file})
endforeach()
magpie_document(${CMAKE_INSTALL_DOCDIR}/plugins/echo plugins/echo/echo.c) # an example of a plugin
magpie_document(${CMAKE_INSTALL_DOCDIR}/plugins/http_api plugins/http_api/openapi.json)
magpie_document(${CMAKE_INSTALL_DATADIR}/magpie/grafana etc/grafana/magpie.json etc/grafana/magpie-cluster.json)
magpie_document(${CMAKE_INSTALL_DATADIR}/magpie/prometheus etc/prometheus/alerts.yml etc/prometheus/cluster.yml)
magpie_documents_of(${CMAKE_INSTALL_DATADIR}/magpie/systemd etc/systemd/*)
magpie_document(${CMAKE_INSTALL_DATADIR}/magpie etc/redis-cluster.conf)
magpie_documents_of(${magpie_script_dir} scripts/*.lua scripts/*.md)
magpie_documents_of(${magpie_script_dir}/examples scripts/examples/*)
list(APPEND magpie_documents "scripts/examples|${magpie_script_dir}/examples")
set(client plugins/web/client) # the npm package, without what it is made and tested with
magpie_documents_of(${CMAKE_INSTALL_DATADIR}/magpie/client ${client}/*.js ${client}/*.ts ${client}/*.md
  ${client}/package.json)
magpie_documents_of(${CMAKE_INSTALL_DATADIR}/magpie/client/examples ${client}/examples/*)

# Absolute, so that one of them may be where another is not.
set(places "")
foreach(document ${magpie_documents})
  string(REGEX MATCH "^[^|]*" source "${document}")
  string(REGEX REPLACE "^[^|]*\\|" "" place "${document}")
  get_filename_component(place "${place}" ABSOLUTE BASE_DIR "${CMAKE_INSTALL_PREFIX}")
  string(APPEND places "${source}|${place}\n")
endforeach()
file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/documents/places.txt CONTENT "${places}")
set(made "")
foreach(page ${magpie_pages})
  list(APPEND made ${CMAKE_BINARY_DIR}/documents/${page})
  set_property(SOURCE ${CMAKE_BINARY_DIR}/documents/${page} PROPERTY GENERATED TRUE)
endforeach()
add_custom_command(
  OUTPUT ${made}
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DMADE=${CMAKE_BINARY_DIR}/documents
    -P ${CMAKE_SOURCE_DIR}/etc/documents.cmake
  DEPENDS ${magpie_pages} ${CMAKE_BINARY_DIR}/documents/places.txt ${CMAKE_SOURCE_DIR}/etc/documents.cmake
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
  COMMENT "Writing the links of the documents")
add_custom_target(documents ALL DEPENDS ${made})

# For the system around it. systemd and shells look for these below /usr and /usr/local.
install(FILES etc/sysusers.d/magpie.conf DESTINATION lib/sysusers.d)
foreach(program magpiectl magpied)
  install(FILES etc/bash-completion/magpie DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
          RENAME ${program})
endforeach()
install(FILES etc/zsh/_magpie DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)

# The prefix may be given at install time (--prefix), so what names paths is made then: config, unit, man pages. A
# config that is there is somebody's: it stays, and the new one is put beside it.
install(CODE "
  set(bin \"${CMAKE_INSTALL_BINDIR}\")
  set(libdir \"${CMAKE_INSTALL_LIBDIR}\")
  set(plugin_dir \"${magpie_plugin_dir}\")
  set(script_dir \"${magpie_script_dir}\")
  set(config_dir \"${magpie_config_dir}\")
  set(doc_dir \"${CMAKE_INSTALL_DOCDIR}\")
  set(man_dir \"${CMAKE_INSTALL_MANDIR}\")
  set(include \"${CMAKE_INSTALL_INCLUDEDIR}\")
  set(pkgconfig_dir \"${CMAKE_INSTALL_LIBDIR}/pkgconfig\")
  set(version \"${PROJECT_VERSION}\")
  set(abi \"${abi}\")
  set(source \"${CMAKE_SOURCE_DIR}\")
  set(plugins \"${plugin_names}\")
  set(console \"${MAGPIE_CONSOLE_SOCKET}\")
")
install(CODE [[
  get_filename_component(prefix "${CMAKE_INSTALL_PREFIX}" ABSOLUTE)
  if(prefix STREQUAL "/usr" AND NOT IS_ABSOLUTE "${config_dir}")
    set(config_dir "/${config_dir}") # the one prefix whose configuration is not below it
  endif()
  foreach(dir bin plugin_dir script_dir config_dir doc_dir man_dir include pkgconfig_dir)
    if(NOT IS_ABSOLUTE "${${dir}}")
      set(${dir} "${prefix}/${${dir}}")
    endif()
  endforeach()
  set(root "$ENV{DESTDIR}")

  file(READ "${source}/etc/magpie.lua" text)
  string(REPLACE "\"build/plugins\"" "\"${plugin_dir}\"" text "${text}")
  string(REPLACE "\"scripts\"" "\"${script_dir}\"" text "${text}")
  if(prefix MATCHES "^/(usr|opt)") # a service of the system: its unit makes /run/magpie
    string(REPLACE "\"127.0.0.1:8083\"" "\"unix:${console}\"" text "${text}")
  endif()
  foreach(name web metrics) # which it loads
    if(NOT ";${plugins};" MATCHES ";${name};")
      string(REGEX REPLACE "\n +${name} = {}[^\n]*" "" text "${text}")
    endif()
  endforeach()
  set(config "${root}${config_dir}/magpie.lua")
  if(EXISTS "${config}")
    set(config "${config}.new")
  endif()
  message(STATUS "Installing: ${config}")
  file(WRITE "${config}" "${text}")

  file(READ "${source}/etc/magpied.service" text)
  set(quote "")
  if("${bin}${config_dir}" MATCHES "[ \t]") # or systemd takes them for several words
    set(quote "\"")
  endif()
  string(REPLACE "/usr/bin/magpied" "${quote}${bin}/magpied${quote}" text "${text}")
  string(REPLACE "/etc/magpie/magpie.lua" "${quote}${config_dir}/magpie.lua${quote}" text "${text}")
  string(REPLACE "/usr/share/doc/magpie" "${doc_dir}" text "${text}")
  set(unit "${root}${prefix}/lib/systemd/system/magpied.service")
  message(STATUS "Installing: ${unit}")
  file(WRITE "${unit}" "${text}")

  file(READ "${source}/etc/tmpfiles.d/magpie.conf" text)
  string(REPLACE "/etc/magpie" "${config_dir}" text "${text}")
  message(STATUS "Installing: ${root}${prefix}/lib/tmpfiles.d/magpie.conf")
  file(WRITE "${root}${prefix}/lib/tmpfiles.d/magpie.conf" "${text}")
  get_filename_component(around "${config_dir}" DIRECTORY)
  message(STATUS "Installing: ${root}${around}/logrotate.d/magpie")
  file(COPY "${source}/etc/logrotate.d/magpie" DESTINATION "${root}${around}/logrotate.d")

  file(GLOB pages "${source}/docs/man/*.[1358]")
  foreach(page ${pages})
    get_filename_component(name "${page}" NAME)
    string(REGEX REPLACE "^.*\\." "" section "${name}")
    file(READ "${page}" text)
    string(REPLACE "/usr/lib/magpie/plugins" "${plugin_dir}" text "${text}")
    string(REPLACE "/usr/share/magpie/scripts" "${script_dir}" text "${text}")
    string(REPLACE "/usr/share/doc/magpie" "${doc_dir}" text "${text}")
    string(REPLACE "/usr/include" "${include}" text "${text}")
    string(REPLACE "/etc/magpie" "${config_dir}" text "${text}")
    string(REPLACE "/run/magpie/console" "${console}" text "${text}")
    message(STATUS "Installing: ${root}${man_dir}/man${section}/${name}")
    file(WRITE "${root}${man_dir}/man${section}/${name}" "${text}")
  endforeach()

  set(script "${root}${bin}/magpie-plugin")
  set(pc "${root}${pkgconfig_dir}/magpie-plugin.pc")
  message(STATUS "Installing: ${script}")
  message(STATUS "Installing: ${pc}")
  configure_file("${source}/etc/magpie-plugin.pc.in" "${pc}" @ONLY)
  configure_file("${source}/plugins/magpie-plugin.sh" "${script}" @ONLY NEWLINE_STYLE UNIX
    FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
]])
