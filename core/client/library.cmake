# libmagpie-client, static and shared: magpie_client.h for programs that are not of this repository. Only what that
# header declares can be seen of either, so that names inside cannot meet those of a program.
set(magpie_client_version 1.0.0) # the ABI: minor for what is added, major for what changes
set(magpie_client_soversion 1)
file(GLOB client_library_sources CONFIGURE_DEPENDS core/client/magpie_client*.c)
set_property(SOURCE core/client/magpie_client.c APPEND PROPERTY COMPILE_DEFINITIONS
  MAGPIE_CLIENT_VERSION="${magpie_client_version}")

add_library(magpie_client_shared SHARED ${client_library_sources})
target_link_libraries(magpie_client_shared PRIVATE magpie_client)
target_link_options(magpie_client_shared PRIVATE -Wl,--exclude-libs,ALL
  -Wl,--version-script,${CMAKE_SOURCE_DIR}/core/client/library.map)
set_target_properties(magpie_client_shared PROPERTIES OUTPUT_NAME magpie-client VERSION ${magpie_client_version}
  SOVERSION ${magpie_client_soversion} LINK_DEPENDS ${CMAKE_SOURCE_DIR}/core/client/library.map
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)

# The static one is a single object, of which all hidden names are made local. Under -flto it is made machine code
# first: what is to be compiled later would bring the hidden names along, and fit this compiler alone.
set(client_machine_code "")
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  set(client_machine_code -flinker-output=nolto-rel)
endif()
set(client_object ${CMAKE_BINARY_DIR}/lib/magpie-client.o)
set(client_archive ${CMAKE_BINARY_DIR}/lib/libmagpie-client.a)
add_custom_command(OUTPUT ${client_archive}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/lib
  COMMAND ${CMAKE_C_COMPILER} -r -nostdlib ${client_machine_code} -o ${client_object}
          -Wl,--whole-archive $<TARGET_FILE:magpie_client>
          -Wl,--no-whole-archive $<TARGET_FILE:magpie_base>
  COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${client_object}
  COMMAND ${CMAKE_COMMAND} -E rm -f ${client_archive}
  COMMAND ${CMAKE_AR} qcD ${client_archive} ${client_object}
  DEPENDS magpie_client magpie_base
  COMMENT "Archiving lib/libmagpie-client.a" VERBATIM)
add_custom_target(magpie_client_static ALL DEPENDS ${client_archive})

include(GNUInstallDirs)
install(TARGETS magpie_client_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT client
  NAMELINK_COMPONENT client_development)
install(FILES ${client_archive} DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT client_development)
install(FILES core/client/magpie_client.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT client_development)
# The prefix is pkg-config's to find out, from where the file lies: it may be given at install time only.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(client_pc_prefix "${CMAKE_INSTALL_PREFIX}")
  set(client_pc_libdir "${CMAKE_INSTALL_FULL_LIBDIR}")
  set(client_pc_includedir "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
else()
  file(RELATIVE_PATH up "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  string(REGEX REPLACE "/$" "" up "${up}")
  set(client_pc_prefix "\${pcfiledir}/${up}")
  set(client_pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
  set(client_pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file(core/client/magpie-client.pc.in ${CMAKE_BINARY_DIR}/lib/magpie-client.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/lib/magpie-client.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
  COMPONENT client_development)
