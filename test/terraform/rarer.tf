# The rarer resources of a private network. Variables change in stage two. aws_vpc_endpoint_subnet_association works too; its
# provider waits a minute before it looks.
variable "stage" {
  type = string
}

variable "image" {
  type = string
}

locals {
  two = var.stage == "two"
}

data "aws_availability_zones" "all" {
  state = "available"
}

data "aws_region" "here" {}

# What AWS has in every region.
resource "aws_default_vpc" "main" {
  tags = { Name = "default-${var.stage}" }
}

resource "aws_default_subnet" "main" {
  availability_zone = data.aws_availability_zones.all.names[0]
  tags              = { Name = "default-${var.stage}" }
}

resource "aws_vpc" "main" {
  cidr_block = "10.40.0.0/16"
  lifecycle {
    ignore_changes = [tags] # aws_ec2_tag.one
  }
}

resource "aws_vpc_ipv4_cidr_block_association" "more" {
  vpc_id     = aws_vpc.main.id
  cidr_block = local.two ? "10.42.0.0/16" : "10.41.0.0/16"
}

resource "aws_vpc_dhcp_options" "main" {
  domain_name         = "example.internal"
  domain_name_servers = ["AmazonProvidedDNS"]
  tags                = { Name = var.stage }
}

resource "aws_vpc_dhcp_options_association" "main" {
  vpc_id          = aws_vpc.main.id
  dhcp_options_id = aws_vpc_dhcp_options.main.id
}

resource "aws_subnet" "one" {
  vpc_id     = aws_vpc.main.id
  cidr_block = "10.40.1.0/24"
}

resource "aws_subnet" "more" {
  vpc_id     = aws_vpc.main.id
  cidr_block = cidrsubnet(aws_vpc_ipv4_cidr_block_association.more.cidr_block, 8, 1)
}

resource "aws_internet_gateway" "main" {}

resource "aws_internet_gateway_attachment" "main" {
  internet_gateway_id = aws_internet_gateway.main.id
  vpc_id              = aws_vpc.main.id
}

resource "aws_nat_gateway" "private" {
  connectivity_type = "private"
  subnet_id         = aws_subnet.one.id
}

resource "aws_route_table" "main" {
  vpc_id = aws_vpc.main.id
}

resource "aws_route_table" "other" {
  vpc_id = aws_vpc.main.id
}

resource "aws_main_route_table_association" "main" {
  vpc_id         = aws_vpc.main.id
  route_table_id = local.two ? aws_route_table.other.id : aws_route_table.main.id
}

resource "aws_route" "host" {
  route_table_id         = aws_route_table.main.id
  destination_cidr_block = "10.99.0.0/16"
  network_interface_id   = aws_network_interface.one.id
}

resource "aws_network_acl" "main" {
  vpc_id = aws_vpc.main.id
  ingress {
    protocol   = "tcp"
    rule_no    = 100
    action     = local.two ? "deny" : "allow"
    cidr_block = "10.0.0.0/8"
    from_port  = 443
    to_port    = 443
  }
}

resource "aws_network_acl_association" "main" {
  network_acl_id = aws_network_acl.main.id
  subnet_id      = aws_subnet.one.id
}

resource "aws_ec2_managed_prefix_list" "main" {
  name           = "rarer"
  address_family = "IPv4"
  max_entries    = local.two ? 4 : 2
}

resource "aws_security_group" "one" {
  name_prefix = "one-"
  vpc_id      = aws_vpc.main.id
}

resource "aws_security_group" "two" {
  name   = "two"
  vpc_id = aws_vpc.main.id
}

resource "aws_security_group_rule" "self" {
  type              = "ingress"
  from_port         = -1
  to_port           = -1
  protocol          = "icmp"
  self              = true
  security_group_id = aws_security_group.one.id
}

resource "aws_security_group_rule" "list" {
  type              = "egress"
  from_port         = 0
  to_port           = 65535
  protocol          = "udp"
  prefix_list_ids   = [aws_ec2_managed_prefix_list.main.id]
  security_group_id = aws_security_group.one.id
  description       = local.two ? "the list" : null
}

resource "aws_security_group_rule" "six" {
  type              = "ingress"
  from_port         = 443
  to_port           = 443
  protocol          = "tcp"
  ipv6_cidr_blocks  = ["::/0"]
  security_group_id = aws_security_group.two.id
}

resource "aws_network_interface" "one" {
  subnet_id         = aws_subnet.one.id
  private_ips_count = local.two ? 2 : 1
  security_groups   = [aws_security_group.two.id]
  source_dest_check = false
}

resource "aws_network_interface_sg_attachment" "one" {
  network_interface_id = aws_instance.one.primary_network_interface_id
  security_group_id    = aws_security_group.two.id
}

resource "aws_instance" "one" {
  ami                    = var.image
  instance_type          = "t3.nano"
  subnet_id              = aws_subnet.one.id
  vpc_security_group_ids = [aws_security_group.one.id]
  root_block_device {
    volume_type = "gp3"
    volume_size = local.two ? 20 : 10
    throughput  = local.two ? 250 : 125
  }
  lifecycle {
    ignore_changes = [vpc_security_group_ids]
  }
}

resource "aws_eip" "one" {
  domain = "vpc"
}

resource "aws_eip_association" "one" {
  allocation_id = aws_eip.one.id
  instance_id   = local.two ? null : aws_instance.one.id

  network_interface_id = local.two ? aws_network_interface.one.id : null
  depends_on           = [aws_internet_gateway_attachment.main]
}

resource "aws_ec2_instance_state" "one" {
  instance_id = aws_instance.one.id
  state       = local.two ? "stopped" : "running"
}

resource "aws_ec2_tag" "one" {
  resource_id = aws_vpc.main.id
  key         = "apart"
  value       = var.stage
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id       = aws_vpc.main.id
  service_name = "com.amazonaws.${data.aws_region.here.name}.s3"
}

resource "aws_vpc_endpoint_route_table_association" "s3" {
  vpc_endpoint_id = aws_vpc_endpoint.s3.id
  route_table_id  = local.two ? aws_route_table.main.id : aws_route_table.other.id
}

resource "aws_vpc_endpoint" "apprunner" {
  vpc_id            = aws_vpc.main.id
  service_name      = "com.amazonaws.${data.aws_region.here.name}.apprunner.requests"
  vpc_endpoint_type = "Interface"
}

resource "aws_vpc_endpoint_security_group_association" "apprunner" {
  vpc_endpoint_id             = aws_vpc_endpoint.apprunner.id
  security_group_id           = aws_security_group.two.id
  replace_default_association = true
}
