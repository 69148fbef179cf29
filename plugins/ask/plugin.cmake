pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
target_sources(plugin_ask PRIVATE ${CMAKE_SOURCE_DIR}/plugins/common/http_out.c)
target_link_libraries(plugin_ask PRIVATE PkgConfig::CURL PkgConfig::CRYPTO Threads::Threads)
