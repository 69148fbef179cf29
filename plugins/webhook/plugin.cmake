pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
target_sources(plugin_webhook PRIVATE ${CMAKE_SOURCE_DIR}/plugins/common/http_out.c)
target_link_libraries(plugin_webhook PRIVATE PkgConfig::CURL PkgConfig::ZLIB PkgConfig::CRYPTO Threads::Threads)
