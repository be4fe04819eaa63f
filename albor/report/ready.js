ready();
