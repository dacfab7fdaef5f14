package route

// An OpenAPI names a document that declares routes.
type OpenAPI struct {
	File     string `yaml:"file"`
	Host     string `yaml:"host"`
	Prefix   string `yaml:"prefix"`
	Upstream string `yaml:"upstream"`
}

func (c *compiler) document(d *OpenAPI, open func(string) ([]byte, error)) {
	c.fail("", "not here")
}
