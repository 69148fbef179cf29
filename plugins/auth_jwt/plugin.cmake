target_link_libraries(plugin_auth_jwt PRIVATE PkgConfig::CRYPTO)
