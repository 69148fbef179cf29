#The pages and the client become part of the plugin : embed.cmake makes a C file of them whenever one of them changes.
file(GLOB web_files CONFIGURE_DEPENDS ${folder}/page/* ${folder}/admin/* ${folder}/client/*.js)
set(web_made ${CMAKE_BINARY_DIR}/plugins/web)
add_custom_command(
  OUTPUT ${web_made}/files.c
  COMMAND ${CMAKE_COMMAND} -DFOLDER=${folder} -DMADE=${web_made} -P ${folder}/embed.cmake
  DEPENDS ${web_files} ${folder}/embed.cmake
  COMMENT "Embedding the pages")
target_sources(plugin_web PRIVATE ${web_made}/files.c)
target_link_libraries(plugin_web PRIVATE PkgConfig::CRYPTO)
