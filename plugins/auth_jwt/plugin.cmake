pkg_check_modules(JWT REQUIRED IMPORTED_TARGET libjwt)
target_link_libraries(plugin_auth_jwt PRIVATE PkgConfig::JWT PkgConfig::CRYPTO)
